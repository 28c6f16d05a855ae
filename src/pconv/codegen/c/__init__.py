"""C with vector extensions: one file a kind of micro-kernel. Only this folder knows how C is spelt."""
