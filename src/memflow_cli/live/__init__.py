"""A film in the browser while it is made: `--watch` shows it, `memflow live` steers it. Starlette and uvicorn, loopback only."""
