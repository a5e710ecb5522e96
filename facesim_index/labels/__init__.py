"""Who is on which picture, as somebody says?  Lists of pairs, folders of people, their scores."""
