"""Files, whole or absent; tables, arrays and weights from others, read without running what they carry."""
