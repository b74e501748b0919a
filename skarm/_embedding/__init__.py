"""Texts to vectors: models, the shared cache, files that resume.

===================  ===========================================================
`sentence_models`    loading sentence encoders and language models
`static`             a small model trained from your own texts
`texts`              what counts as a text
`chat`               rendering prompts and responses by a model's own template
`cache`              vectors of texts seen before, on disk
`file`               vectors of very many texts, to a file that resumes
===================  ===========================================================
"""

__all__ = []
