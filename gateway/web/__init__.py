"""HTTP: the routes, what a request may say, what an answer looks like, and which status goes with which error."""
