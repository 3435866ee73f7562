#!/usr/bin/env bash
# The image sets: scikit-learn's handwritten digits with captions.
exec python3 -m espnet_sld.bin.prepare_digit_images --shifts true "$@"
