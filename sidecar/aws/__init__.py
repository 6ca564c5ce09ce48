"""What every part needs of AWS: clients, error codes and a worker thread."""
