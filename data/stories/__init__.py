"""Stories with questions: read from files in bAbI's format, and turned into rows of word ids."""
