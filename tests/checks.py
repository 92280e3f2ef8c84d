"""Every operation's check, and what it may be given after (backend, case, dtype, channels_last): a tuple for each variant."""

import fused_cases
import kernel_cases

CHECKS = kernel_cases.CHECKS | fused_cases.CHECKS
