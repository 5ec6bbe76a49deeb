"""The language model of speech: text symbols and BPE pieces in one vocabulary, one LLaMA over both.

:mod:`~vectok.lm.vocabulary` numbers what the model reads and writes, :mod:`~vectok.lm.sequences` says what a sequence
of each task looks like, :mod:`~vectok.lm.batches` draws them, :mod:`~vectok.lm.model` is the network.
"""
