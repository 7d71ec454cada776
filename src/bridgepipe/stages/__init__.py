"""What each stage of the workflow does: from the files that it is given to the files that it writes."""
