"""The release engineer's side: keys, a repository of signed plain files, and a log of every act."""
