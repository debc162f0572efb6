"""Videos and folders of images, decoded frame by frame."""
