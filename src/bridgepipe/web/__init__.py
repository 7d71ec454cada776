"""A local web page for photographs: visitors and their pictures, one queue of work, and the HTTP between."""
