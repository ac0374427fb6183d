"""The study's side: receives noised reports, never anything else; never imports `agent`."""
