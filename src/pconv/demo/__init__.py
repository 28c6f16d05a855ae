"""The whole way on real images: train or load a network, prune, fine-tune, compile, check, time.

`data` reads images, `net` is the small network for digits, `train` fits and scores, `run` does it all.
Nothing here is imported by the rest of the package.
"""
