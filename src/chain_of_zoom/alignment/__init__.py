"""Preference alignment of the prompt extractor (paper, section 3.3).

`pairs` cuts what is learned from, `rewards` says which texts are good, `training` makes the adapter, and `scoring`
compares prompters on pairs that nothing learned from.
"""
