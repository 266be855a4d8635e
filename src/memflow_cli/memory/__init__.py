"""Narrative memory: what is remembered, what is recalled for a prompt, and what each head reads of it.

One file a policy. A policy is handed the cache and the prompt, and never sees a backbone.

Why the default score is `combined` and the bank holds three frames (benchmarks/results/memory.md, theatre's held-out
stories): when one of two puppets is called back, 67% of the bank shows it, which is the most there can be in the drawn stories,
and in films it keeps its looks in 92% of the returns. With `cross-attention`, half of this score, that was 62% and 82%: queries
tell a puppet from an empty stage better than one puppet from the other. The paper's attention mass reaches 45% of the bank, the
prompts' likeness 27% and the published formula 3%. A bank of three is what theatre and the published models are trained with; on
40 of the stories, with earlier weights and scores (`--bank 1`, `--bank 5`), one frame keeps as many looks (36 of 40, three 35)
and five keep fewer (33).
"""
