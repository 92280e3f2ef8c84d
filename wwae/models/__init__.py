"""Networks built on switch pooling."""

from wwae.models.architecture import format_architecture, parse_architecture
from wwae.models.swwae import SWWAE, SWWAEOutput

__all__ = ["SWWAE", "SWWAEOutput", "format_architecture", "parse_architecture"]
