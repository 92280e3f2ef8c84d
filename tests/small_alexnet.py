"""An AlexNet that a test can train."""

from torch import nn

from wwae.models import CaffeNet


class SmallAlexNet(CaffeNet):
    """CaffeNet's layers with a sixteenth of its widths, for 67x67 images."""

    def __init__(self) -> None:
        super().__init__(num_classes=5)
        for name, layer in self.named_children():
            if isinstance(layer, nn.Conv2d):
                into = layer.in_channels if layer.in_channels == 3 else layer.in_channels // 16
                geometry = (layer.kernel_size, layer.stride, layer.padding)
                setattr(self, name, nn.Conv2d(into, layer.out_channels // 16, *geometry, groups=layer.groups))
        self.fc6, self.fc7, self.fc8 = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 5)
