"""Who there is and what they may: users, groups, projects, roles, grants, credentials, tokens."""
