"""What tests share: small models, runs and files, and what watches them."""
