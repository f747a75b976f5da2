"""Images with their captions, in the forms in which caption data are published."""
