"""Narrative memory: what is remembered, what is recalled for a prompt, and what each head reads of it.

One file a policy. A policy is handed the cache and the prompt, and never sees a backbone.

Why the default score is `cross-attention` and the bank holds three frames (benchmarks/results/memory.md, theatre's held-out
stories): when one of two puppets is called back, it puts the right frames into the bank in 100% of the returns (62% of the
bank's frames, where 67% is the most there can be), against 100% (45) for the paper's attention mass, 80% (27) for the prompts'
likeness and 10% (3) for the published formula. A bank of three is what theatre and the published models are trained with; on
40 of the stories, with earlier weights (`--bank 1`, `--bank 5`), one frame keeps as many looks (36 of 40, three 35) and five
keep fewer (33).
"""
