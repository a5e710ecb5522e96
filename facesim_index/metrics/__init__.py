"""How is a system judged by scores and labels alone?  Arrays in, figures out."""
