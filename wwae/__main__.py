"""``python -m wwae`` is the ``wwae`` command."""

import sys

from wwae.cli import main

sys.exit(main())
