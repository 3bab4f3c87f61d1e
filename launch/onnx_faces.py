#!/usr/bin/env python3
"""Emotions of faces by an ONNX file of `fer-dist export`. Needs numpy, Pillow and onnxruntime, nothing of fer-dist.

    python onnx_faces.py FILE.onnx FACE.jpg...

Prints a line of JSON for each image: its name and the probability of each emotion. An image shows one face, cut out as
the faces of the training were: the file's metadata say so under "faces". The probabilities are those of fer-dist
evaluate within 0.02; where the image has the file's size already, within 1e-5. What does not decode is named on
standard error, and the exit code is 1.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
metadata = session.get_modelmeta().custom_metadata_map
network = json.loads(metadata["network"])
size, crop = network["size"], network["crop"]
first = (size - crop) // 2
failed = False
for name in sys.argv[2:]:
    try:
        image = ImageOps.exif_transpose(Image.open(name))
        if image.mode.startswith("I;16"):  # Pillow would cut off what is above 255; evaluate divides, and rounds
            image = Image.fromarray(((np.asarray(image, dtype=np.uint32) + 128) // 257).astype(np.uint8))
        elif image.mode in ("I", "F"):
            raise ValueError("has floats or 32-bit numbers, of no known range: save it with 8 or 16 bits")
        image = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        failed = True
        continue
    pixels = np.asarray(image.crop((first, first, first + crop, first + crop)), dtype=np.float32) / 255
    normalised = (pixels - np.float32(network["mean"])) / np.float32(network["std"])
    (outputs,) = session.run(None, {"images": normalised.transpose(2, 0, 1)[None]})
    shares = outputs[0]
    if metadata["outputs"] == "logits":
        shares = np.exp(shares - shares.max())
        shares /= shares.sum()
    print(json.dumps({"image": name, **dict(zip(network["emotions"], map(float, shares), strict=True))}))
sys.exit(failed)
