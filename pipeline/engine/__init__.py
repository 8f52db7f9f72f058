"""The embedded runtime: records through the kernel into epochs, each committed once."""
