"""From words to vectors: the tokenizer and the text encoder."""
