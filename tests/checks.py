"""Every operation's check, and what it may be given after (backend, case, dtype, channels_last): a tuple for each variant."""

import fused_cases
import kernel_cases
import soft_cases

SOFT = ("soft_argmax_pool2d", "soft_argmax_pool2d_backward", "soft_argmax_unpool2d", "soft_argmax_unpool2d_backward")

CHECKS = kernel_cases.CHECKS | fused_cases.CHECKS | {stem: (getattr(soft_cases, f"check_{stem}"), [()]) for stem in SOFT}
