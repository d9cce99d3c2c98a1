SELECT cloud.region, count(DISTINCT user.id) AS users
FROM events GROUP BY cloud.region ORDER BY cloud.region
