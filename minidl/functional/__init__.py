"""Functions on tensors: a signature, a line of documentation, and the ops that do the work.

Each family's `__all__` says what is public; many are methods of Tensor as well.
"""

from minidl.functional import creation, elementwise, index, reduce, shape, sparse
from minidl.functional.creation import *  # noqa: F403
from minidl.functional.elementwise import *  # noqa: F403
from minidl.functional.index import *  # noqa: F403
from minidl.functional.reduce import *  # noqa: F403
from minidl.functional.shape import *  # noqa: F403
from minidl.functional.sparse import *  # noqa: F403

_FAMILIES = (creation, elementwise, index, reduce, shape, sparse)
__all__ = [name for family in _FAMILIES for name in family.__all__]
