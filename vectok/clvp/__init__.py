"""CLVP, contrastive language-voice pretraining: which of many candidates says the text best?

:mod:`~vectok.clvp.model` holds the towers and the similarity, :mod:`~vectok.clvp.batches` draws pairs and spoilt copies
of them (:mod:`~vectok.clvp.corruption`), :mod:`~vectok.clvp.objective` is the contrastive loss,
:mod:`~vectok.clvp.ranking` scores candidates, :mod:`~vectok.clvp.check` measures retrieval.
"""
