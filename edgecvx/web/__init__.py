"""Networks in a browser: the site's static files, and the folder that is made of them and models."""
