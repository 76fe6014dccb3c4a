"""`apply`: from documents to changes, all or nothing."""
