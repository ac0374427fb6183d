"""What a model is and what it eats; how it is made; how it is attacked."""
