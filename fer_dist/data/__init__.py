"""From a raw release to crops on the device."""
