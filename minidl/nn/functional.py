"""PyTorch's `nn.functional`: the functions that layers are made of.

They are written in `minidl.functional`, where tensors' own functions stand as well.
"""

from minidl.functional.activation import *  # noqa: F403
from minidl.functional.attention import *  # noqa: F403
from minidl.functional.bags import *  # noqa: F403
from minidl.functional.convolution import *  # noqa: F403
from minidl.functional.dropouts import *  # noqa: F403
from minidl.functional.layers import *  # noqa: F403
from minidl.functional.losses_classification import *  # noqa: F403
from minidl.functional.losses_contrastive import *  # noqa: F403
from minidl.functional.losses_ctc import *  # noqa: F403
from minidl.functional.losses_gan import *  # noqa: F403
from minidl.functional.losses_labels import *  # noqa: F403
from minidl.functional.losses_ranking import *  # noqa: F403
from minidl.functional.losses_regression import *  # noqa: F403
from minidl.functional.normalization import *  # noqa: F403
from minidl.functional.padding import *  # noqa: F403
from minidl.functional.pooling import *  # noqa: F403
from minidl.functional.positions import *  # noqa: F403
from minidl.functional.resizing import *  # noqa: F403
from minidl.functional.softmax import *  # noqa: F403
