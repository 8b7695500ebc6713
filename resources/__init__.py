"""What a stage needs from outside: stores, weights, devices, the files of a dataset."""
