"""How theatre was made: its world, its training runs. Not part of the installed package."""
