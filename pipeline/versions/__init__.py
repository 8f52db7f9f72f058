"""Between the kernel's version rows and Arrow tables: gather (rows out) and scatter (rows read back)."""
