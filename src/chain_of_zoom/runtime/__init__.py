"""Where networks run and what fits there: devices, precision, memory, cores."""
