"""The list of all operations: a file stands here, and everything that has to know of it does."""

from deploy.ir.operations import attention, convolution, identity, max_pool, product, segment

FILES = (convolution, identity, attention, max_pool, segment, product)
OPERATORS = tuple(file.OPERATOR for file in FILES)
