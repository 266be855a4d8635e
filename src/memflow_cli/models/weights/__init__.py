"""Files of weights from anywhere: read safely, named alike, merged."""
