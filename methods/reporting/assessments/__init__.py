"""How good each classifier is, in words and tables: figures, calibration, expectations."""
