"""What the tables of ``docs/convolutions.md`` are about: the last convolution of each block of VGG-16 at 224 x 224, and the pooling
after it.
"""

BATCH = 64

# Channels, as many in as out, height and width.
BLOCKS = {1: (64, 224), 2: (128, 112), 3: (256, 56), 4: (512, 28), 5: (512, 14)}
WINDOW = ((2, 2), (2, 2), (0, 0), (1, 1))
