"""What is fetched from elsewhere: the list of sources, and the one downloader."""
