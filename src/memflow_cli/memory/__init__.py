"""Narrative memory: what is remembered, what is recalled for a prompt, and what each head reads of it.

One file a policy. A policy is handed the cache and the prompt, and never sees a backbone.
"""
