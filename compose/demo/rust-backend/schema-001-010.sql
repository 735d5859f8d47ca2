-- The tables of the Rust backend after its migrations 001 to 010. Made from a listing of the columns and
-- constraints of a real database; applying it to a database that has them already changes nothing.

CREATE TABLE IF NOT EXISTS config (
    id serial,
    data jsonb NOT NULL DEFAULT '{}'::jsonb,
    version integer NOT NULL DEFAULT 0,
    created_at timestamp without time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS "user" (
    id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    email varchar(255) NOT NULL,
    username varchar(50),
    role varchar(50) NOT NULL DEFAULT 'user'::character varying,
    profile_image_url text NOT NULL,
    bio text,
    gender varchar(50),
    date_of_birth date,
    info jsonb,
    settings jsonb,
    api_key varchar(255),
    oauth_sub text,
    last_active_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (api_key),
    UNIQUE (email),
    UNIQUE (oauth_sub)
);

CREATE TABLE IF NOT EXISTS auth (
    id varchar(255) NOT NULL,
    email varchar(255) NOT NULL,
    password text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id),
    UNIQUE (email)
);

CREATE TABLE IF NOT EXISTS channel (
    id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    description text,
    user_id varchar(255) NOT NULL,
    data jsonb,
    meta jsonb,
    access_control jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    type text,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS channel_member (
    id varchar(255) NOT NULL,
    channel_id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    created_at bigint NOT NULL,
    FOREIGN KEY (channel_id) REFERENCES channel(id) ON DELETE CASCADE,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS chat (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    title text NOT NULL,
    chat jsonb NOT NULL,
    folder_id varchar(255),
    archived boolean NOT NULL DEFAULT false,
    pinned boolean DEFAULT false,
    share_id varchar(255),
    meta jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id),
    UNIQUE (share_id)
);

CREATE TABLE IF NOT EXISTS feedback (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    type varchar(255) NOT NULL,
    data jsonb,
    meta jsonb,
    snapshot jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS file (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    filename varchar(255) NOT NULL,
    path text NOT NULL,
    meta jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    data jsonb,
    access_control jsonb,
    hash varchar(255),
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS folder (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    parent_id varchar(255),
    is_expanded boolean DEFAULT false,
    meta jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    data jsonb,
    FOREIGN KEY (parent_id) REFERENCES folder(id) ON DELETE CASCADE,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS "function" (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    type varchar(50) NOT NULL,
    content text NOT NULL,
    meta jsonb,
    valves jsonb,
    is_active boolean NOT NULL DEFAULT true,
    is_global boolean NOT NULL DEFAULT false,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS "group" (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    description text,
    data jsonb,
    meta jsonb,
    permissions jsonb,
    user_ids jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS knowledge (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    description text,
    data jsonb,
    meta jsonb,
    access_control jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS memory (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    content text NOT NULL,
    meta jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS message (
    id varchar(255) NOT NULL,
    chat_id varchar(255),
    user_id varchar(255) NOT NULL,
    content text NOT NULL,
    role varchar(50),
    model varchar(255),
    meta jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    channel_id varchar(255),
    reply_to_id varchar(255),
    parent_id varchar(255),
    data jsonb,
    FOREIGN KEY (chat_id) REFERENCES chat(id) ON DELETE CASCADE,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS message_reaction (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    message_id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    created_at bigint NOT NULL,
    FOREIGN KEY (message_id) REFERENCES message(id) ON DELETE CASCADE,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS model (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    base_model_id varchar(255),
    name varchar(255) NOT NULL,
    params jsonb NOT NULL,
    meta jsonb,
    access_control jsonb,
    is_active boolean NOT NULL DEFAULT true,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS note (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    title text NOT NULL,
    data jsonb,
    meta jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    access_control jsonb,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS prompt (
    command varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    access_control jsonb,
    meta jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (command)
);

CREATE TABLE IF NOT EXISTS tag (
    id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    data jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS tool (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    content text NOT NULL,
    specs jsonb NOT NULL,
    meta jsonb,
    access_control jsonb,
    is_active boolean NOT NULL DEFAULT true,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    valves jsonb DEFAULT '{}'::jsonb,
    FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
    PRIMARY KEY (id)
);

INSERT INTO config (data, version) SELECT '{}', 0 WHERE NOT EXISTS (SELECT FROM config);
