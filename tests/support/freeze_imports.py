"""Imported last by the fork server: what is imported by then stays, and the garbage collector need not look at it.

A collection takes a quarter of a second otherwise, and every training run asks for two.
"""

import gc

gc.collect()
gc.freeze()
