"""A process of thingsvision on a folder of images, in the virtual environment of the peers.

``benchmarks.files`` starts it.

Loads AlexNet once; then for each line on its standard input, ``IMAGES TEMPORARY``, extracts
``features.12`` of the images of the one folder as thingsvision's guide does, stores them as HDF5 in
the other, and prints the seconds.
"""

import os
import sys
import time

import h5py
from thingsvision import get_extractor
from thingsvision.utils.data import DataLoader, ImageDataset

BATCH = 32
"""Number of images in a batch in thingsvision's guide."""


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what thingsvision prints is no answer
    extractor = get_extractor(
        model_name="alexnet", source="torchvision", device="cpu", pretrained=False
    )
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        images, temporary = line.split()
        started = time.perf_counter()
        dataset = ImageDataset(
            root=images,
            out_path=temporary,
            backend=extractor.get_backend(),
            transforms=extractor.get_transformations(),
        )
        batches = DataLoader(dataset=dataset, batch_size=BATCH, backend=extractor.get_backend())
        features = extractor.extract_features(
            batches=batches, module_name="features.12", flatten_acts=False, output_type="ndarray"
        )
        with h5py.File(os.path.join(temporary, "features.h5"), "w") as file:
            file.create_dataset("features", data=features)
        print(time.perf_counter() - started, file=answers, flush=True)


if __name__ == "__main__":
    main()
