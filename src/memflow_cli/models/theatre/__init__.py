"""theatre: the embedded model, trained by this project on a procedurally drawn paper theatre."""
