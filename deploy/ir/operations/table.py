"""The list of all operations: a file stands here, and everything that has to know of it does."""

from deploy.ir.operations import attention, convolution, identity, max_pool, permutation, product, segment

FILES = (convolution, identity, attention, max_pool, segment, permutation, product)
OPERATORS = tuple(file.OPERATOR for file in FILES)
